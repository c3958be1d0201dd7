// Starts Swagger UI; a file of its own, because the page allows no inline script.
const place = document.getElementById("swagger-ui");

// A link to an operation names its operationId: Swagger UI takes the underscores in it for spaces of old, tries both,
// and complains of it to the console.
const complain = console.error;
console.error = (said, ...more) => {
  if (!String(said).startsWith("Deprecated: escaping deep link whitespace")) {
    complain(said, ...more);
  }
};

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  deepLinking: true,
  displayRequestDuration: true,
  // The groups at a glance; the one that a link names is open.
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 2,
  persistAuthorization: true,
  tryItOutEnabled: true,
  // The badge would send the document's address to a validator elsewhere.
  validatorUrl: null,
});
