"""An app that has django CMS build its URLs before any other app is ready."""
