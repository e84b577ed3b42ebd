"""The HTTP face of the appliance: `api.app.create_app(settings, pipeline=None)`."""
