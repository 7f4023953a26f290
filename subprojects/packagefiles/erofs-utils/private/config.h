/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* liberofs asks for this name; kept out of its users' sight, who have a config.h of their own. */
#include "liberofs-settings.h"

#define PACKAGE_VERSION "1.9.4"
