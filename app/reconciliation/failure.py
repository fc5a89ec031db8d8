"""Why the provider's side of a comparison could not be had."""


class ProviderFailed(Exception):
    """The provider did not say what it charged; the message is one line for operators, without credentials."""
