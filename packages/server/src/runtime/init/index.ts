export { authorizedKeys, type BootPlan, bootFiles } from "./boot.js";
export { type ConsoleItem, ConsoleParser, type Report } from "./console.js";
