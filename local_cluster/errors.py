"""The one error a person meets here: what is wrong, and what to do about it, in one sentence."""


class LocalClusterError(Exception):
    """Raised by every module of this package; the command prints its text and nothing else.

    `details` are lines worth reading below the sentence, such as the end of a log.
    """

    def __init__(self, sentence: str, details: str = "") -> None:
        """Keep the sentence apart from the details, so that tests and callers can tell them apart."""
        super().__init__(sentence)
        self.sentence = sentence
        self.details = details

    def __str__(self) -> str:
        """Both, as the command prints them."""
        return f"{self.sentence}\n{self.details}".rstrip()
