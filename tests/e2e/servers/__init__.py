"""The web servers that the end-to-end tests run the demo site on."""
