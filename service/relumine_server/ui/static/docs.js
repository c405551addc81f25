// The API reference: Swagger UI from an installed package. Nothing is loaded from other sites.

SwaggerUIBundle({ url: new URL("openapi.json", location.href).href, dom_id: "#docs", deepLinking: true, validatorUrl: null });
