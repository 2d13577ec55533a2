{#- Text of a value for hashing: equal values give equal texts (10.5 and 10.50), NULL is no text that a value can give. -#}
{% macro value_text(column, type) -%}
    {%- if type == 'string' -%} {%- set text = column -%}
    {%- elif type == 'numeric' -%} {%- set text = 'cast(cast(' ~ column ~ ' as numeric(38, 9)) as string)' -%}
    {%- else -%} {%- set text = 'cast(' ~ column ~ ' as string)' -%}
    {%- endif -%}
    coalesce(concat(cast(char_length({{ text }}) as string), ':', {{ text }}), '~')
{%- endmacro %}


{#- Hash of columns' content; `columns` maps names to 'string', 'numeric' or another type that casts to one text. -#}
{% macro content_hash(columns) -%}
    to_hex(md5(concat({% for name, type in columns.items() %}{{ value_text(name, type) }}{{ ', ' if not loop.last }}{% endfor %})))
{%- endmacro %}


{#- Surrogate key of a version: 60 bits of a hash of the member, the instant and the content; the same wherever it is computed. -#}
{% macro surrogate_key(id, instant, content) -%}
    cast(concat('0x', substr(to_hex(md5(concat(cast({{ id }} as string), '@', cast(unix_micros({{ instant }}) as string), '#', {{ content }}))), 1, 15)) as int64)
{%- endmacro %}


{#- Rows of a raw table that are new since the last finished transform. -#}
{% macro changed_rows(table) -%}
    {{ source('raw', table) }} as r
    inner join {{ ref('changed_files') }} as f
        on f.table_name = '{{ table }}' and r.partition_date = f.partition_date and r._lsn = f.lsn
{%- endmacro %}


{#-
  The order of what was seen of a row of a raw table, the last first, whatever its clock said. Content decides where one extract has
  it in two states, which only a source without keys has.
-#}
{% macro last_seen(r, columns) -%}
    {{ r }}._lsn desc, {{ r }}._deleted, {{ r }}.updated_at desc{% for column in columns %}, {{ r }}.{{ column }} desc{% endfor %}
{%- endmacro %}


{#- Share of one piece in what a whole line comes to, rounded half up to 4 places without floating point; a line of no pieces counts as one. -#}
{% macro per_piece(total, quantity) -%}
    cast(
        cast(div((2 * cast({{ total }} * 10000 as int64) + greatest({{ quantity }}, 1)), (2 * greatest({{ quantity }}, 1))) as numeric(18, 0))
        * cast('0.0001' as numeric(18, 4))
        as numeric(18, 4)
    )
{%- endmacro %}
