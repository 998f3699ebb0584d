/* SPDX-License-Identifier: GPL-2.0-only */

/* What `fwctl top` draws, and the keys of its terminal. */
#include "user/topview.h"

#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/table.h"
#include "user/util.h"

#define HEAD_LINES   3 /* title, views, headings */
#define FOOT_LINES   1
#define NUMBER_WIDTH 9

static SCREEN *terminal;

int fw_top_view_open(void)
{
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal)
		return -EINVAL;
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)intrflush(stdscr, FALSE);
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)curs_set(0);
	set_escdelay(25);
	return 0;
}

void fw_top_view_close(void)
{
	if (!terminal)
		return;
	(void)endwin();
	delscreen(terminal);
	terminal = NULL;
}

size_t fw_top_view_rows(void)
{
	int rows = LINES - HEAD_LINES - FOOT_LINES;

	return rows > 0 ? (size_t)rows : 1;
}

/* ---- keys ---------------------------------------------------------------------------- */

static const struct {
	int code;
	enum fw_top_key key;
} keys[] = {
	{ 'q', FW_TOP_KEY_QUIT },	   { 'Q', FW_TOP_KEY_QUIT },
	{ '\t', FW_TOP_KEY_NEXT },	   { KEY_RIGHT, FW_TOP_KEY_NEXT },
	{ KEY_BTAB, FW_TOP_KEY_PREVIOUS }, { KEY_LEFT, FW_TOP_KEY_PREVIOUS },
	{ KEY_UP, FW_TOP_KEY_UP },	   { 'k', FW_TOP_KEY_UP },
	{ KEY_DOWN, FW_TOP_KEY_DOWN },	   { 'j', FW_TOP_KEY_DOWN },
	{ KEY_PPAGE, FW_TOP_KEY_PAGE_UP }, { KEY_NPAGE, FW_TOP_KEY_PAGE_DOWN },
	{ KEY_HOME, FW_TOP_KEY_HOME },	   { KEY_END, FW_TOP_KEY_END },
	{ '<', FW_TOP_KEY_SORT_LEFT },	   { '>', FW_TOP_KEY_SORT_RIGHT },
	{ 's', FW_TOP_KEY_SORT_NEXT },	   { 'r', FW_TOP_KEY_REVERSE },
	{ ' ', FW_TOP_KEY_PAUSE },	   { 'h', FW_TOP_KEY_HELP },
	{ '?', FW_TOP_KEY_HELP },	   { KEY_RESIZE, FW_TOP_KEY_REDRAW },
	{ '\f', FW_TOP_KEY_REDRAW },
};

unsigned int fw_top_view_key(bool *ret_more)
{
	int code = getch();

	*ret_more = code != ERR;
	if (code >= '1' && code < '1' + FW_TOP_VIEWS)
		return FW_TOP_KEY_VIEW + (unsigned int)(code - '1');
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (keys[i].code == code) {
			if (code == '\f')
				(void)clearok(stdscr, TRUE);
			return keys[i].key;
		}
	}
	return FW_TOP_KEY_NONE;
}

/* ---- drawing --------------------------------------------------------------------------- */

/* A line of text that ends with the screen; what would move the cursor is '?'. */
static void put_line(int line, attr_t attributes, const char *text)
{
	char clean[512];
	size_t i;

	for (i = 0; text[i] && i < sizeof(clean) - 1; i++)
		clean[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f
				   ? '?'
				   : text[i];
	clean[i] = '\0';
	if (line < 0 || line >= LINES)
		return;
	(void)move(line, 0);
	(void)clrtoeol();
	(void)attrset((int)attributes);
	(void)addnstr(clean, COLS);
	(void)attrset(A_NORMAL);
}

static void draw_title(const struct fw_top_screen *screen)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "fwctl top  every %g s%s  %s",
		       screen->interval_s,
		       screen->is_paused ? "  [paused]" : "", screen->summary);
	put_line(0, A_BOLD, text);
}

static void draw_views(const struct fw_top_screen *screen)
{
	enum fw_top_view view = fw_top_model_view(screen->model);
	char text[256] = "";
	size_t n = 0;

	for (unsigned int i = 0; i < FW_TOP_VIEWS && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      i == view ? "[%u %s] " : " %u %s  ",
				      i + 1, fw_top_layouts[i].name);
	put_line(1, A_NORMAL, text);
}

/* Names take what numbers leave of a line, up to what they need. */
static int name_width(const struct fw_top_screen *screen)
{
	enum fw_top_view view = fw_top_model_view(screen->model);
	int most = COLS - (int)fw_top_columns(view) * NUMBER_WIDTH;
	size_t n, width = strlen(fw_top_layouts[view].heading) + 1;
	const struct fw_top_row *rows = fw_top_rows(screen->model, &n);

	for (size_t i = 0; i < n; i++) {
		if (strlen(rows[i].name) > width)
			width = strlen(rows[i].name);
	}
	if (most > 120)
		most = 120;
	if (most < 8)
		most = 8;
	return width < (size_t)most ? (int)width : most;
}

static void draw_headings(const struct fw_top_screen *screen, int width)
{
	enum fw_top_view view = fw_top_model_view(screen->model);
	const struct fw_top_layout *layout = &fw_top_layouts[view];
	size_t columns = fw_top_columns(view), n;
	char mark = screen->is_reverse ? '^' : 'v';
	char text[512], heading[32];

	(void)snprintf(heading, sizeof(heading), "%s%c", layout->heading,
		       screen->column == columns ? mark : ' ');
	n = (size_t)snprintf(text, sizeof(text), "%-*.*s", width, width,
			     heading);
	for (size_t i = 0; i < columns; i++) {
		(void)snprintf(heading, sizeof(heading), "%s%c",
			       layout->columns[i].heading,
			       screen->column == i ? mark : ' ');
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%*s",
				      NUMBER_WIDTH, heading);
	}
	(void)snprintf(text + n, sizeof(text) - n, " %-*s", COLS,
		       layout->text_heading ? layout->text_heading : "");
	put_line(2, A_REVERSE, text);
}

static void draw_row(const struct fw_top_screen *screen, int line, int width,
		     const struct fw_top_row *row)
{
	enum fw_top_view view = fw_top_model_view(screen->model);
	char text[512], number[FW_TOP_NUMBER];
	size_t n;

	n = (size_t)snprintf(text, sizeof(text), "%-*.*s", width, width,
			     row->name);
	for (size_t i = 0; i < fw_top_columns(view) && n < sizeof(text); i++) {
		bool is_known = !fw_top_layouts[view].columns[i].is_rate ||
				fw_top_has_rates(screen->model);
		double value = fw_top_value(screen->model, row, i);

		n += (size_t)snprintf(
			text + n, sizeof(text) - n, "%*s ", NUMBER_WIDTH - 1,
			is_known ? fw_top_number(value, number) : "-");
	}
	if (n < sizeof(text))
		(void)snprintf(text + n, sizeof(text) - n, " %s", row->text);
	put_line(line, A_NORMAL, text);
}

static const char *const help[] = {
	"1 2 3 4 5     rules, interfaces, drops, sources, flows",
	"Tab           next view; Shift-Tab: the one before",
	"arrows PgUp PgDn Home End   scroll",
	"s  < >        order by the next column, the one left or right",
	"r             reverse the order",
	"space         pause",
	"h ?           this help",
	"q             quit",
};

static void draw_rows(const struct fw_top_screen *screen, int width)
{
	size_t n, fit = fw_top_view_rows();
	const struct fw_top_row *rows = fw_top_rows(screen->model, &n);

	for (size_t i = 0; i < fit; i++) {
		int line = HEAD_LINES + (int)i;

		if (screen->has_help)
			put_line(line, A_NORMAL,
				 i < ARRAY_SIZE(help) ? help[i] : "");
		else if (screen->first + i < n)
			draw_row(screen, line, width, &rows[screen->first + i]);
		else
			put_line(line, A_NORMAL, "");
	}
}

void fw_top_view_draw(const struct fw_top_screen *screen)
{
	int width = name_width(screen);

	(void)erase();
	draw_title(screen);
	draw_views(screen);
	draw_headings(screen, width);
	draw_rows(screen, width);
	put_line(
		LINES - 1, *screen->note ? A_BOLD : A_NORMAL,
		*screen->note
			? screen->note
			: "q quit  Tab view  s sort  r reverse  space pause  h help");
	(void)refresh();
}

/* ---- text ------------------------------------------------------------------------------- */

static struct fw_table *new_table(enum fw_top_view view)
{
	const struct fw_top_layout *layout = &fw_top_layouts[view];
	char headings[256];
	size_t n;

	n = (size_t)snprintf(headings, sizeof(headings), "%s", layout->heading);
	for (size_t i = 0; i < fw_top_columns(view); i++)
		n += (size_t)snprintf(headings + n, sizeof(headings) - n,
				      "|>%s", layout->columns[i].heading);
	if (layout->text_heading)
		(void)snprintf(headings + n, sizeof(headings) - n, "|%s",
			       layout->text_heading);
	return fw_table_new(headings);
}

void fw_top_print(const struct fw_top_model *model, FILE *out)
{
	enum fw_top_view view = fw_top_model_view(model);
	const struct fw_top_layout *layout = &fw_top_layouts[view];
	struct fw_table *table = new_table(view);
	const struct fw_top_row *rows;
	size_t n;

	rows = fw_top_rows(model, &n);
	for (size_t i = 0; i < n; i++) {
		fw_table_cell(table, "%s", rows[i].name);
		for (size_t j = 0; j < fw_top_columns(view); j++)
			fw_table_cell(table,
				      layout->columns[j].is_rate ? "%.1f"
								 : "%.0f",
				      fw_top_value(model, &rows[i], j));
		if (layout->text_heading)
			fw_table_cell(table, "%s", rows[i].text);
	}
	fw_table_print(table, out);
	fw_table_free(table);
}
