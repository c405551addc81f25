// The API reference: Swagger UI from an installed package. Nothing is loaded from other sites.

SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
