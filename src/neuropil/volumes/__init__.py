"""Reading and writing arrays and their metadata; :mod:`neuropil.volumes.formats` has one module per file format."""

from neuropil.volumes.convert import convert_volume
from neuropil.volumes.encoding import LINEAR8, LOGIT8, LOGIT16, Encoding
from neuropil.volumes.finishing import can_be_written, put_in_place, written_at
from neuropil.volumes.identity import image_digest, spare_input, stamp
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.opening import as_volume, borrowed, create_volume, list_arrays, open_volume, write_volume
from neuropil.volumes.pickling import _pickled as _pickled
from neuropil.volumes.roles import require_image, require_labels
from neuropil.volumes.tissue import Tissue, in_tissue
from neuropil.volumes.volume import Volume, array_volume, in_memory

__all__ = [
    "LINEAR8",
    "LOGIT8",
    "LOGIT16",
    "Encoding",
    "Metadata",
    "Tissue",
    "Volume",
    "array_volume",
    "as_volume",
    "borrowed",
    "can_be_written",
    "convert_volume",
    "create_volume",
    "image_digest",
    "in_memory",
    "in_tissue",
    "list_arrays",
    "open_volume",
    "put_in_place",
    "require_image",
    "require_labels",
    "spare_input",
    "stamp",
    "write_volume",
    "written_at",
]
