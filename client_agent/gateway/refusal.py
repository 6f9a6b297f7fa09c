"""What a person sees who comes to the door of the site with a link that only the agent's own page may make."""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from consent.registry import Language

_WORDS: Final[dict[Language, tuple[str, str, str]]] = {
    "en": (
        "This link does not work from here",
        (
            "Your browser was not recognised on the site, and nothing was kept. Open the agent’s page, and go to the "
            "site from there."
        ),
        "Open the agent’s page",
    ),
    "de": (
        "Dieser Link funktioniert von hier aus nicht",
        (
            "Ihr Browser wurde auf der Website nicht erkannt, und nichts wurde aufbewahrt. Öffnen Sie die Seite des "
            "Agenten, und gehen Sie von dort zur Website."
        ),
        "Seite des Agenten öffnen",
    ),
}
_PAGE: Final = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="{page}?lang={language}">{link}</a></p>
</main>
</body>
</html>
"""


def refusal(page: str, language: Language) -> HTMLResponse:
    """A page that says what to do; sets nothing.

    Args:
        page: the agent's own page on which people say who they are.
        language: of the words.
    """
    title, text, link = _WORDS[language]
    body = _PAGE.format(language=language, title=title, text=text, link=link, page=escape(page))
    return HTMLResponse(body, 403, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
