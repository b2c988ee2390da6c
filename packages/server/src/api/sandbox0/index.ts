export { toSandbox0Error } from "./errors.js";
export { sandbox0Routes } from "./routes.js";
export { type SshGateway, sandbox0Views } from "./views.js";
