// Starts Swagger UI; a file of its own, because the page allows no inline script.
const place = document.getElementById("swagger-ui");

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  // The badge would send the document's address to a validator elsewhere.
  validatorUrl: null,
});
