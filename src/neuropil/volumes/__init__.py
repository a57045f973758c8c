"""READ/WRITE: the only room that knows file formats."""

from neuropil.volumes.convert import convert_volume
from neuropil.volumes.encoding import LINEAR8, LOGIT8, LOGIT16, Encoding
from neuropil.volumes.listing import list_arrays
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.opening import as_volume, borrowed, create_volume, open_volume, spare_input, write_volume
from neuropil.volumes.volume import Volume, array_volume, require_image, require_labels

__all__ = [
    "LINEAR8",
    "LOGIT8",
    "LOGIT16",
    "Encoding",
    "Metadata",
    "Volume",
    "array_volume",
    "as_volume",
    "borrowed",
    "convert_volume",
    "create_volume",
    "list_arrays",
    "open_volume",
    "require_image",
    "require_labels",
    "spare_input",
    "write_volume",
]
