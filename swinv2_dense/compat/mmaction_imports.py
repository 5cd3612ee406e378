"""For ``custom_imports`` of a config of mmaction2: importing this module imports mmaction2, repaired where needed.

It must be named there, and not only be called by a program, so that the config works with any runner: mmengine handles
``custom_imports`` before it looks up the first type.
"""

from swinv2_dense.compat.mmaction import import_mmaction
from swinv2_dense.errors import UserError
from swinv2_dense.extras import missing

try:
    import_mmaction()
except ImportError as error:
    raise UserError(missing("this config", error, "video")) from error
