#include "agent/usage/map.h"

static json_t *text_or_null(const char *text)
{
	return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *part_to_json(const struct usage_part *p)
{
	return json_pack("{s:I, s:I, s:I, s:s, s:o, s:o, s:s, s:I, s:I, s:b, s:s}", "number",
			 (json_int_t)p->number, "offset", (json_int_t)p->offset, "size",
			 (json_int_t)p->size, "content", p->content, "label",
			 text_or_null(p->label), "uuid", text_or_null(p->uuid), "how",
			 usage_how_name(p->how), "used", (json_int_t)p->used, "copied",
			 (json_int_t)p->copied, "replayed", (int)p->is_replayed, "why", p->why);
}

static json_t *volume_to_json(const struct usage_part *p)
{
	return json_pack("{s:s, s:I, s:s, s:o, s:o, s:s, s:I, s:I, s:b, s:s}", "name", p->name,
			 "size", (json_int_t)p->size, "content", p->content, "label",
			 text_or_null(p->label), "uuid", text_or_null(p->uuid), "how",
			 usage_how_name(p->how), "used", (json_int_t)p->used, "copied",
			 (json_int_t)p->copied, "replayed", (int)p->is_replayed, "why", p->why);
}

static json_t *area_to_json(const struct usage_part *p)
{
	return json_pack("{s:I, s:I, s:s, s:I, s:s}", "offset", (json_int_t)p->offset, "size",
			 (json_int_t)p->size, "how", usage_how_name(p->how), "copied",
			 (json_int_t)p->copied, "why", p->why);
}

static json_t *list_to_json(const struct usage_part *parts, size_t len,
			    json_t *(*to_json)(const struct usage_part *))
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < len; i++) {
		if (json_array_append_new(list, to_json(&parts[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *extents_to_json(const struct usage_map *m)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->extents_len; i++) {
		json_t *e = json_pack("[I, I]", (json_int_t)m->extents[i].offset,
				      (json_int_t)m->extents[i].length);

		if (json_array_append_new(list, e) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *map_to_json(const struct usage_map *m, const char *path, bool with_extents)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:s, s:I, s:o, s:o, s:o}", "path", path, "size",
			      (json_int_t)m->size, "sector_size", (json_int_t)m->sector_size,
			      "table", m->table, "copied", (json_int_t)m->copied, "partitions",
			      list_to_json(m->partitions, m->partitions_len, part_to_json),
			      "volumes", list_to_json(m->volumes, m->volumes_len, volume_to_json),
			      "areas", list_to_json(m->areas, m->areas_len, area_to_json));

	if (o && with_extents && json_object_set_new(o, "extents", extents_to_json(m)) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}
