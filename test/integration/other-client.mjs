// SPDX-License-Identifier: LGPL-2.1-or-later
//
// other-client.mjs FOLDER URL CLIENT [TARGET...]: a client of The Update Framework that is not ours (tuf-js of npm, installed in FOLDER) reads the repository
// at URL with its trusted metadata in CLIENT, and downloads the targets into CLIENT/targets. Prints their names; exit status 1 with the reason.

import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";

const [folder, url, client, ...targets] = process.argv.slice(2);
const require = createRequire(`${folder}/node_modules/`);
const { Updater } = require("tuf-js");

mkdirSync(`${client}/targets`, { recursive: true });
const updater = new Updater({
        metadataDir: client,
        metadataBaseUrl: `${url}/metadata`,
        targetDir: `${client}/targets`,
        targetBaseUrl: `${url}/targets`,
        config: { fetchTimeout: 60000, fetchRetry: 0 },
});
try {
        await updater.refresh();
        for (const path of targets) {
                const info = await updater.getTargetInfo(path);
                if (!info) throw new Error(`there is no target ${path}`);
                await updater.downloadTarget(info, `${client}/targets/${path.replaceAll("/", "_")}`);
                console.log(path);
        }
} catch (e) {
        console.error(`${e.constructor.name}: ${e.message}`);
        process.exit(1);
}
