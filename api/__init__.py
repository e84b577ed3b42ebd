"""The HTTP API of the appliance: `api.app.create_app(settings, pipeline=None)`."""
