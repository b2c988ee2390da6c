export { Accounts, type AccountsOptions, type ApiKeyInfo } from "./accounts.js";
export type { Administration } from "./administration.js";
export type { Bootstrap } from "./bootstrap.js";
export type { AccessRevoked } from "./revocations.js";
export { type Action, can, demand, type Principal, type Role, roles } from "./roles.js";
export type { SshKeyOwner, SshKeys, UserSshKey } from "./ssh-keys.js";
export type { Member, Team } from "./teams.js";
export type { User } from "./users.js";
