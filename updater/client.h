/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* sealabctl's side of the bus. */

#include <systemd/sd-bus.h>

#include "json.h"

typedef struct Client Client;
/* host: "user@machine" by way of ssh; NULL: this machine. user_bus: for tests. */
int client_new(const char *host, bool user_bus, Client **ret, Error *reterr);
Client *client_free(Client *c);
DEFINE_CLEANUP(Client *, client_free)

/* A question: method without arguments, answer in JSON. */
int client_ask(Client *c, const char *method, json_t **ret, Error *reterr);

typedef struct ClientResult {
        char *result, *message, *hint; /* owned; result "done", "nothing" or a refusal's name */
        json_t *data;                  /* owned; may be NULL */
} ClientResult;
void client_result_done(ClientResult *r);
#define _cleanup_client_result_ _cleanup_(client_result_done)
/* 0 for "done" and "nothing"; otherwise the refusal as an error. */
int client_result_error(const ClientResult *r, Error *reterr);

/* Starts a job and waits for its end. types and the arguments as in sd_bus_message_append(). progress may be NULL. A
 * refusal of the job is a negative result with its id. SIGINT or SIGTERM asks the daemon to stop the job, and then
 * waits for that. */
int client_run(Client *c, const char *method,
               void (*progress)(const char *step, uint64_t done, uint64_t total, void *userdata), void *userdata,
               ClientResult *ret, Error *reterr, const char *types, ...);
/* Calls show() at once and after each finished job, until SIGINT. */
int client_watch(Client *c, int (*show)(Client *c, void *userdata, Error *reterr), void *userdata, Error *reterr);
int client_reboot(Client *c, Error *reterr);
