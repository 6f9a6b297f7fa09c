"""The demo shop: an ordinary server-rendered site. It knows nothing of the visitor and works without any agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import jinja2
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from models.wire.guards import App, BodyLimit, SecurityHeaders
from simulations.demo.shop.catalogue import DEPARTMENTS, Product, of_category, picks, products

_FOLDER: Final = Path(__file__).parent
_CART_COOKIE: Final = "cart"
_CART_MAXIMUM: Final = 20


class Shop:
    """The pages of the shop."""

    def __init__(self) -> None:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        environment.filters["euros"] = lambda price: f"€{price:,.2f}"
        environment.globals["departments"] = DEPARTMENTS
        self._environment = environment

    def application(self) -> FastAPI:
        """The shop as an ASGI application, without the guards."""
        app = FastAPI(title="Demo shop", docs_url=None, redoc_url=None, openapi_url=None)
        app.add_api_route("/", self._home, response_class=HTMLResponse)
        app.add_api_route("/c/{category}", self._category, response_class=HTMLResponse)
        app.add_api_route("/p/{product_id}", self._product, response_class=HTMLResponse)
        app.add_api_route("/cart", self._cart, response_class=HTMLResponse)
        app.add_api_route("/cart/add", self._change_cart, methods=["POST"])
        app.add_api_route("/cart/remove", self._change_cart, methods=["POST"])
        app.add_api_route("/checkout", self._checkout, methods=["POST"], response_class=HTMLResponse)
        app.add_api_route("/static/shop.css", _style, methods=["GET"], include_in_schema=False)
        return app

    async def _home(self, request: Request) -> Response:
        return self._page("home.html", request, picks=picks())

    async def _category(self, request: Request, category: str) -> Response:
        if category not in DEPARTMENTS:
            return self._page("missing.html", request, status=404)
        return self._page("category.html", request, category=category, products=of_category(category))

    async def _product(self, request: Request, product_id: str) -> Response:
        product = products().get(product_id)
        if product is None:
            return self._page("missing.html", request, status=404)
        more = [other for other in of_category(product.category) if other != product][:4]
        return self._page("product.html", request, product=product, more=more)

    async def _cart(self, request: Request) -> Response:
        return self._page("cart.html", request, lines=_lines(request))

    async def _change_cart(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode("ascii", "replace"))
        chosen = form.get("product", [""])[0]
        lines = [product.product_id for product in _lines(request)]
        if request.url.path.endswith("/add") and chosen in products():
            lines = [*lines, chosen][:_CART_MAXIMUM]
        elif chosen in lines:
            lines.remove(chosen)
        response = RedirectResponse("/cart", status_code=303)
        response.set_cookie(_CART_COOKIE, ".".join(lines), httponly=True, samesite="lax")
        return response

    async def _checkout(self, request: Request) -> Response:
        lines = _lines(request)
        if not lines:
            return RedirectResponse("/cart", status_code=303)
        response = self._page("thanks.html", request, lines=lines, empty_cart=True)
        response.delete_cookie(_CART_COOKIE)
        return response

    def _page(
        self, name: str, request: Request, *, status: int = 200, empty_cart: bool = False, **facts: Any
    ) -> HTMLResponse:
        count = 0 if empty_cart else len(_lines(request))
        page = self._environment.get_template(name).render(cart_count=count, path=request.url.path, **facts)
        return HTMLResponse(page, status_code=status, headers={"cache-control": "no-store"})


def shop_app() -> App:
    """The demo shop with its guards."""
    app: App = Shop().application()
    return SecurityHeaders(BodyLimit(app, 65_536))


async def _style() -> Response:
    return FileResponse(
        _FOLDER / "static" / "shop.css", media_type="text/css", headers={"cache-control": "max-age=300"}
    )


def _lines(request: Request) -> list[Product]:
    known = products()
    ids = request.cookies.get(_CART_COOKIE, "").split(".")[:_CART_MAXIMUM]
    return [known[product_id] for product_id in ids if product_id in known]
