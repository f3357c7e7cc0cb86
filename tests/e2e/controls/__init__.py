"""An app that the end-to-end tests add to the demo site: views and faults that they control."""
