{#-
  Materialization `restated`: a table of which a run replaces some rows, in one statement.

  The model's SQL gives the rows that must be there. `existing` names the rows that are compared with them, and of these the
  ones in scope go when the model does not give them again. Only what differs is written, so a run over unchanged data writes
  nothing, and a run that was cut short is mended by the next: MERGE is all or nothing.

  config: unique_key (a column or a list), existing (an `existing_*` macro below and its arguments), partition_by, cluster_by.
  The columns and their types are the model's in YAML; a key is never NULL. A table gains the columns that the model gained; one
  that has columns which the model lost is made again, empty. Another code makes all rows anew (rainbow/warehouse/transform.py).
-#}
{% materialization restated, adapter='bigquery' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set columns = model['columns'].values() | list -%}
    {{ run_hooks(pre_hooks) }}
    {%- set there = load_cached_relation(this) -%}
    {%- set names = columns | map(attribute='name') | list -%}
    {%- set found = adapter.get_columns_in_relation(there) | map(attribute='name') | list if there else [] -%}
    {%- if found | reject('in', names) | list or not there %}
        {%- call statement('create') %}
            {{ 'create or replace table' if there else 'create table if not exists' }} {{ target_relation }} (
                {%- for column in columns %}
                {{ column['name'] }} {{ column['data_type'] }}{{ ',' if not loop.last }}
                {%- endfor %}
            )
            {%- if config.get('partition_by') %} partition by {{ config.get('partition_by') }}{% endif %}
            {%- if config.get('cluster_by') %} cluster by {{ config.get('cluster_by') }}{% endif %}
        {%- endcall %}
    {%- else %}
        {%- for column in columns if column['name'] not in found %}
        {%- call statement('widen') %}
            alter table {{ target_relation }} add column if not exists {{ column['name'] }} {{ column['data_type'] }}
        {%- endcall %}
        {%- endfor %}
    {%- endif %}
    {%- call statement('main') %}
        {{ restate(target_relation, sql, names) }}
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {% do persist_docs(target_relation, model) %}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{% macro restate(relation, desired, columns) %}
    {%- set unique_key = config.require('unique_key') -%}
    {%- set keys = [unique_key] if unique_key is string else unique_key -%}
    {%- set values = columns | reject('in', keys) | list -%}
    {%- set first = keys[0] -%}
merge into {{ relation }} as t
using (
    with desired as (
{{ desired }}
    ),

    existing as (
        {{ existing_rows(config.get('existing', ['none'])) }}
    )

    select
        {%- for key in keys %}
        coalesce(d.{{ key }}, e.{{ key }}) as {{ key }},
        {%- endfor %}
        {%- for value in values %}
        d.{{ value }},
        {%- endfor %}
        d.{{ first }} is null as is_gone
    from desired as d
    full outer join existing as e
        on {% for key in keys %}d.{{ key }} = e.{{ key }}{{ ' and ' if not loop.last }}{% endfor %}
    where (d.{{ first }} is null and e.in_scope)
        or (d.{{ first }} is not null and e.{{ first }} is null)
        {%- if values %}
        or (d.{{ first }} is not null and (
            {%- for value in values %}
            d.{{ value }} is distinct from e.{{ value }}{{ ' or' if not loop.last }}
            {%- endfor %}
        ))
        {%- endif %}
) as s
    on {% for key in keys %}t.{{ key }} = s.{{ key }}{{ ' and ' if not loop.last }}{% endfor %}
when matched and s.is_gone then delete
{%- if values %}
when matched then update set {% for value in values %}{{ value }} = s.{{ value }}{{ ', ' if not loop.last }}{% endfor %}
{%- endif %}
when not matched then insert ({{ columns | join(', ') }}) values ({% for column in columns %}s.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
{% endmacro %}


{#- The rows that are compared, by the `existing_*` macro that the model's configuration names: the table's columns and `in_scope`. -#}
{% macro existing_rows(named) -%}
    {{ context['existing_' ~ named[0]](*named[1:]) }}
{%- endmacro %}


{% macro existing_none() -%}
    select e.*, false as in_scope
    from {{ this }} as e
    where false
{%- endmacro %}


{% macro existing_all() -%}
    select e.*, true as in_scope
    from {{ this }} as e
{%- endmacro %}


{#-
  Rows whose `column` is one of those that another model lists; where the model is made anew, also those of the days from then on.

  `day` gives the day of a row `e`; a model that is made anew along with another one names that in `together_with`.
-#}
{% macro existing_of(column, listed_in, day, together_with=none) -%}
    select e.*, true as in_scope
    from {{ this }} as e
    where e.{{ column }} in (select {{ column }} from {{ ref(listed_in) }})
    union all
    select e.*, true as in_scope
    from {{ this }} as e
    inner join ({{ rebuilt(together_with or this.identifier) }}) as r on coalesce({{ day }}, r.from_date) >= r.from_date
    where e.{{ column }} not in (select {{ column }} from {{ ref(listed_in) }})
{%- endmacro %}


{#- One row, the day from which on a model is made anew, if that is asked for; else none. -#}
{% macro rebuilt(model) -%}
    select min(partition_date) as from_date from {{ ref('changed_files') }} where table_name = '(rebuild) {{ model }}' having count(*) > 0
{%- endmacro %}
