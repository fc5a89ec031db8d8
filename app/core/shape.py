"""The base of all shapes on the wire."""

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Something that comes in or goes out as JSON. What checks it is built with its first use.

    Most shapes are of routes that few installations call, and building all of them was a sixth of a start, and 4 MiB.
    """

    model_config = ConfigDict(defer_build=True)
