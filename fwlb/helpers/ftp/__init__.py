"""The FTP helper: control connections of RFC 959, 1123 (4.1.2.6), 2428, and up to AUTH of RFC 4217.

`lines` splits bytes, `addresses` knows how endpoints are written, `limits` what is never opened,
`state` which reply answers which command; `helper` puts them together.
"""

from fwlb.helpers.ftp.helper import FtpHelper
from fwlb.helpers.ftp.limits import FtpLimits

__all__ = ["FtpHelper", "FtpLimits"]
