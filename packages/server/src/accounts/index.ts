export { Accounts, type AccountsOptions, type ApiKeyInfo } from "./accounts.js";
export type { Bootstrap } from "./bootstrap.js";
export { type Action, can, demand, type Principal, type Role } from "./roles.js";
