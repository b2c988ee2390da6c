export { adminRoutes } from "./routes.js";
export { adminViews } from "./views.js";
