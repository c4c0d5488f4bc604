"""A request to change over to another protocol is answered as if it did not say so, as RFC 9110, 7.8, allows: some
clients send one with every first request, in the hope of HTTP/2.

The parser cuts such a request off behind its head, and would take its body for the next request, which behind a
proxy may be another caller's. So the head is read again, without the wish.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import MalformedHead


class Changeless(HttpToolsProtocol):
    """One connection, which speaks HTTP/1.1 to its end."""

    def data_received(self, data: bytes) -> None:
        """As uvicorn does, but without ever handing the connection over."""
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._feed(data)
        except HttpParserError as error:
            ours = error.__context__  # where one of our callbacks found it
            self.send_400_response(ours.message if isinstance(ours, MalformedHead) else str(error))

    def _feed(self, data: bytes) -> bytes:
        """What is to be read again."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as change:
            again = self._head_again() + data[change.args[0] :]
            self.parser = HttpRequestParser(self)  # the old one reads nothing behind `connection: close`
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            return again
        return b""

    def _head_again(self) -> bytes:
        if self.parser.get_method() == b"CONNECT":  # which changes over without a word of it
            raise HttpParserError("CONNECT: this is no proxy")
        lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        start = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return b"".join([start, *lines, b"\r\n"])

    def _should_upgrade(self) -> bool:
        """Makes uvicorn pass over the head that is read again."""
        return True
