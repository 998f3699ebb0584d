/* SPDX-License-Identifier: GPL-2.0-only */

/* Formatted error texts. */
#include "user/util.h"

#include <stdarg.h>

void fw_errorf(char **ret_text, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	if (!ret_text)
		return;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);

	/* The earlier text may be one of the arguments: free it last. */
	free(*ret_text);
	*ret_text = n < 0 ? NULL : text;
}
