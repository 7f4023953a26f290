/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "polkit.h"

#define ALLOW_INTERACTION 1U
/* A person types a password in between. */
#define PATIENCE_USEC (UINT64_C(300) * 1000000)

typedef struct Question {
        sd_bus_message *message;
        sd_bus_slot *slot;
        int (*granted)(sd_bus_message *, void *);
        void *userdata;
} Question;

static void question_free(Question *q) {
        sd_bus_message_unref(q->message);
        sd_bus_slot_unref(q->slot);
        free(q);
}

static int deny(sd_bus_message *m, const char *why) {
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED, "%s", why);
}

static int on_answer(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        Question *q = userdata;
        int authorized = 0, challenge = 0, r;

        if (sd_bus_message_is_method_error(answer, NULL)) {
                r = sd_bus_message_is_method_error(answer, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
                                    sd_bus_message_is_method_error(answer, SD_BUS_ERROR_NAME_HAS_NO_OWNER)
                            ? deny(q->message, "only root may do this: polkit is not there")
                            : deny(q->message, "polkit could not be asked");
                question_free(q);
                return r;
        }
        r = sd_bus_message_enter_container(answer, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(answer, "bb", &authorized, &challenge);
        if (r >= 0 && authorized)
                r = q->granted(q->message, q->userdata);
        else
                r = deny(q->message, challenge ? "an administrator's password is needed" : "polkit does not allow it");
        question_free(q);
        return r;
}

static int append_details(sd_bus_message *call, char *const *details) {
        int r = sd_bus_message_open_container(call, 'a', "{ss}");

        for (size_t i = 0; r >= 0 && details && details[i] && details[i + 1]; i += 2)
                r = sd_bus_message_append(call, "{ss}", details[i], details[i + 1]);
        return r < 0 ? r : sd_bus_message_close_container(call);
}

static int ask(Question *q, const char *action, char *const *details) {
        sd_bus *bus = sd_bus_message_get_bus(q->message);
        sd_bus_message *call = NULL;
        unsigned flags = sd_bus_message_get_allow_interactive_authorization(q->message) > 0 ? ALLOW_INTERACTION : 0;
        int r;

        r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(call, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(q->message), action);
        if (r >= 0)
                r = append_details(call, details);
        if (r >= 0)
                r = sd_bus_message_append(call, "us", flags, "");
        if (r >= 0)
                r = sd_bus_call_async(bus, &q->slot, call, on_answer, q, PATIENCE_USEC);
        sd_bus_message_unref(call);
        return r;
}

int polkit_check(sd_bus_message *message, const char *action, char *const *details,
                 int (*granted)(sd_bus_message *message, void *userdata), void *userdata) {
        sd_bus_creds *creds = NULL;
        uid_t uid = (uid_t) -1;
        Question *q;
        int r;

        /* From the bus, which took it from the kernel when the sender connected. */
        r = sd_bus_query_sender_creds(message, SD_BUS_CREDS_EUID, &creds);
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &uid);
        sd_bus_creds_unref(creds);
        if (r < 0)
                return r;
        if (uid == 0)
                return granted(message, userdata);
        q = xnew(Question, 1);
        *q = (Question){ .message = sd_bus_message_ref(message), .granted = granted, .userdata = userdata };
        r = ask(q, action, details);
        if (r < 0) {
                question_free(q);
                return r;
        }
        return 1;
}
