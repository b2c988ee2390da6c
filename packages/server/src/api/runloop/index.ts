export { runloopRoutes } from "./routes.js";
export { runloopViews } from "./views.js";
