"""An app that the tests of permissions and caches add to the demo site."""
