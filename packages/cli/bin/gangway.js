#!/usr/bin/env node
// Committed and not built, so that `npm ci` can link it before the first build.
import "../dist/main.js";
