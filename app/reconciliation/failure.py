"""Why a day could not be compared."""


class ProviderFailed(Exception):
    """The provider did not say what it charged; the message is one line for operators, without credentials."""


class DayNotBegun(Exception):
    """The day is in the future; the message says what day it is."""
