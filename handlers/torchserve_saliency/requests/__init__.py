"""Messages enter, with the fields, route and headers of a request as they arrived.

Queries leave, with every option checked against the network and the picture decoded, or a RequestError that names the
option at fault.
"""
