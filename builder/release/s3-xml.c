/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <expat.h>

#include "s3.h"

#define XML_DEPTH_MAX 8U
#define XML_TEXT_MAX (64U * 1024)

typedef struct XmlState {
        XML_Parser parser;
        S3XmlHandler handler;
        void *userdata;
        char *path;
        Buffer text;
        unsigned depth;
        const char *refused;
} XmlState;

static void xml_done(XmlState *x) {
        if (x->parser)
                XML_ParserFree(x->parser);
        free(x->path);
        buffer_done(&x->text);
}

static void refuse(XmlState *x, const char *why) {
        x->refused = why;
        XML_StopParser(x->parser, XML_FALSE);
}

static void on_start(void *userdata, const XML_Char *name, const XML_Char **attributes) {
        XmlState *x = userdata;
        char *path;

        if (++x->depth > XML_DEPTH_MAX || strlen(name) > 256) {
                refuse(x, "elements are nested too deeply or have too long names");
                return;
        }
        path = isempty(x->path) ? xstrdup(name) : xasprintf("%s/%s", x->path, name);
        free(x->path);
        x->path = path;
        x->text.size = 0;
        buffer_puts(&x->text, "");
}

static void on_end(void *userdata, const XML_Char *name) {
        XmlState *x = userdata;
        char *slash;

        if (x->refused)
                return;
        x->handler(x->path, x->text.data ?: "", x->userdata);
        slash = strrchr(x->path, '/');
        *(slash ?: x->path) = 0;
        x->depth--;
        x->text.size = 0;
        buffer_append(&x->text, "", 0);
}

static void on_text(void *userdata, const XML_Char *s, int n) {
        XmlState *x = userdata;

        if (x->text.size + (size_t) n > XML_TEXT_MAX)
                refuse(x, "a text is too long");
        else
                buffer_append(&x->text, s, (size_t) n);
}

/* Entities are declared there, and nothing good. */
static void on_doctype(void *userdata, const XML_Char *name, const XML_Char *system, const XML_Char *public, int own) {
        refuse(userdata, "it has a document type");
}

int s3_xml_parse(const char *data, size_t size, S3XmlHandler handler, void *userdata, Error *reterr) {
        _cleanup_(xml_done) XmlState x = { .handler = handler, .userdata = userdata };

        x.parser = XML_ParserCreate("UTF-8");
        if (!x.parser)
                abort(); /* out of memory */
        XML_SetUserData(x.parser, &x);
        XML_SetElementHandler(x.parser, on_start, on_end);
        XML_SetCharacterDataHandler(x.parser, on_text);
        XML_SetStartDoctypeDeclHandler(x.parser, on_doctype);
        if (size > S3_DOCUMENT_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "the server's answer is too large");
        if (XML_Parse(x.parser, data, (int) size, 1) == XML_STATUS_ERROR)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "the server's answer is no XML of this protocol: %s",
                                 x.refused ?: XML_ErrorString(XML_GetErrorCode(x.parser)));
        return 0;
}

void s3_xml_append(Buffer *b, const char *text) {
        for (; *text; text++)
                switch (*text) {
                case '&':
                        buffer_puts(b, "&amp;");
                        break;
                case '<':
                        buffer_puts(b, "&lt;");
                        break;
                case '>':
                        buffer_puts(b, "&gt;");
                        break;
                case '"':
                        buffer_puts(b, "&quot;");
                        break;
                default:
                        buffer_append(b, text, 1);
                }
}
