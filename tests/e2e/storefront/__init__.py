"""A project's own URLs for djangocms-stories, made of that one's rows."""
