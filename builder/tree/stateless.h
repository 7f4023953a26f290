/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The steps that make /usr the whole system and leave one machine's or one build's traces out. Each works in place. */

#include "recipe.h"
#include "tree.h"

/* Files of removed packages and what Drop= names go; links that led to them go too. */
int stateless_remove_content(Tree *t, const Recipe *r, Error *reterr);
/* Every link through /etc/alternatives points at its final target; /etc/alternatives goes. */
int stateless_flatten_alternatives(Tree *t, Error *reterr);
/* Host keys, machine id, seeds, logs, caches, package manager state, backup copies of account files. */
void stateless_remove_traces(Tree *t);
/* What is left in /var, /root, /srv, /opt, /home, /mnt and /media becomes tmpfiles.d lines (folders, links) and factory
 * copies (files), for a machine whose root file system is empty. */
int stateless_describe_state(Tree *t, int64_t epoch, Error *reterr);
/* /etc moves to /usr/share/factory/etc; everything else outside /usr must be empty by now: REFUSAL_GATE lists what is
 * not. */
int stateless_move_etc(Tree *t, Error *reterr);
/* One time for everything, another for /usr itself. */
void stateless_set_times(Tree *t, int64_t epoch, int64_t usr_epoch);
