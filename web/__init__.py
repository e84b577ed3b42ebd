"""The page. `mount_page` puts it at `/` of an application."""
