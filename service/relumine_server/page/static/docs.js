// The API's description, shown by Swagger UI from the installed package: nothing comes from elsewhere.

SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
