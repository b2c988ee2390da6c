export { recordDenials } from "./denials.js";
export { auditRoutes, auditViews } from "./routes.js";
