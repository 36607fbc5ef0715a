"""Field types of contracts: media stay encoded bytes, the rest is plain JSON."""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from glia.core.errors import InputError


class Media:
    """An encoded picture, sound or other file: its bytes, undecoded, and what the bytes say they are.

    Subclasses (in `data/`) set `kind` and override `sniff`, which looks at magic numbers only and is cheap.
    """

    kind: ClassVar[str] = "file"
    """The word the page and the schema use: file, image, audio ..."""

    formats: ClassVar[tuple[str, ...]] = ()
    """Formats that are read, for messages."""

    __slots__ = ("content_type", "data", "name")

    def __init__(self, data: bytes, content_type: str | None = None, name: str | None = None) -> None:
        """`data`: the encoded file. `content_type`: sniffed when not given. Raises UnsupportedMedia."""
        self.data = data
        self.content_type = content_type or self.sniff(data)
        self.name = name

    @classmethod
    def sniff(cls, data: bytes) -> str:
        """The media type by magic number. Raises UnsupportedMedia."""
        return "application/octet-stream"

    def check(self) -> None:
        """Compare what the header promises with the limits, decoding nothing. Raises MediaTooLarge, DamagedMedia."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From base64 or a `data:` URL. Raises InputError; addresses are never fetched."""
        if text[:8].lower().startswith(("http://", "https://")):
            raise InputError(
                f"Expected the {cls.kind}'s bytes (base64 or a data: URL), received an address. "
                f"Glia fetches nothing from the network: download the {cls.kind} and send its bytes."
            )
        if text[:5].lower() == "data:":
            header, comma, text = text.partition(",")
            if not comma or not header.lower().endswith(";base64"):
                raise InputError("Expected a data: URL of the form data:TYPE;base64,DATA; received one without base64.")
        try:
            return cls(base64.b64decode("".join(text.split()), validate=True))
        except (binascii.Error, ValueError) as error:
            raise InputError(
                f"Expected the {cls.kind} as base64 or a data: URL, received text that is neither ({error}). "
                "Encode the file's bytes with base64, or send them as the request's body."
            ) from error

    def data_url(self) -> str:
        """The whole as `data:TYPE;base64,DATA`."""
        return f"data:{self.content_type};base64,{base64.b64encode(self.data).decode()}"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Media) and other.data == self.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.content_type}, {len(self.data)} bytes)"

    @classmethod
    def _validate(cls, value: Any) -> Self:
        try:
            if isinstance(value, cls):
                return value
            if isinstance(value, Media):  # from a door that did not know what it carries
                return cls(value.data, name=value.name)
            if isinstance(value, bytes | bytearray | memoryview):
                return cls(bytes(value))
            if isinstance(value, str):
                return cls.from_text(value)
        except InputError as error:
            # pydantic would swallow another exception's class: the front needs 413 and 415 to stay what they are.
            raise PydanticCustomError("media", "{message}", {"message": error.message, "error": error}) from error
        raise PydanticCustomError("media", "Expected bytes, base64 text or a data: URL", {})

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.data_url, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "contentEncoding": "base64",
            "contentMediaType": f"{cls.kind}/*" if cls.kind != "file" else "application/octet-stream",
            "x-media": cls.kind,
            "x-formats": list(cls.formats),
        }


class Answer(BaseModel):
    """The base of output types: plain data, frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassScore(Answer):
    """One class and how sure the network is of it."""

    label: str = Field(description="The class's name.")
    score: float = Field(ge=0, le=1, description="Between 0 and 1.")


class Box(Answer):
    """A rectangle in pixels of the original, upright picture."""

    xmin: float = Field(description="Left edge [px of the original].")
    ymin: float = Field(description="Top edge [px of the original].")
    xmax: float = Field(description="Right edge [px of the original].")
    ymax: float = Field(description="Bottom edge [px of the original].")
