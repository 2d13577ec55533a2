{#- The sums of a batch view, from order lines. -#}
{% macro sums() -%}
    sum(sales_quantity) as sales_quantity,
    cast(sum(extended_sales_amount) as numeric(31, 2)) as total_sales_amount,
    cast(sum(extended_discount_amount) as numeric(31, 2)) as total_discount_amount,
    cast(sum(net_sales_amount) as numeric(31, 2)) as net_sales_amount
{%- endmacro %}


{#- Rows of other days, which are not made anew, whose member is called otherwise now. `names` maps a column to its dimension and id. -#}
{% macro renamed_rows(columns, names) -%}
    union all
    select
        {%- for column in columns %}
        {% if column in names %}coalesce({{ column }}_now.name, 'Unknown') as {{ column }}{% else %}e.{{ column }}{% endif %}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ this }} as e
    {%- for column, (dimension, id) in names.items() %}
    left join {{ ref('member_names') }} as {{ column }}_now on {{ column }}_now.dimension = '{{ dimension }}' and e.{{ id }} = {{ column }}_now.member_id
    {%- endfor %}
    where e.sales_date not in (select sales_date from {{ ref('touched_days') }})
        and e.sales_date < coalesce((select from_date from ({{ rebuilt(this.identifier) }}) as r), date '9999-12-31')
        and ({% for column in names %}e.{{ column }} is distinct from coalesce({{ column }}_now.name, 'Unknown'){{ ' or ' if not loop.last }}{% endfor %})
{%- endmacro %}


{#- A batch view by day and member: `ids` its key besides the day, `names` a column's name from its dimension and id, `orders` whether it counts orders. -#}
{% macro batch_view(ids, names, orders=false) -%}
{%- set columns = model['columns'].keys() | list -%}
with sold as (
    select
        sales_date,
        {% for id in ids %}{{ id }},
        {% endfor -%}
        {% if orders %}count(distinct order_id) as orders,
        {% endif -%}
        {{ sums() }}
    from {{ ref('touched_sales') }}
    group by sales_date{% for id in ids %}, {{ id }}{% endfor %}
)

select
    {%- for column in columns %}
    {% if column in names %}coalesce({{ column }}_now.name, 'Unknown') as {{ column }}{% else %}sold.{{ column }}{% endif %}{{ ',' if not loop.last }}
    {%- endfor %}
from sold
{%- for column, (dimension, id) in names.items() %}
left join {{ ref('member_names') }} as {{ column }}_now on {{ column }}_now.dimension = '{{ dimension }}' and sold.{{ id }} = {{ column }}_now.member_id
{%- endfor %}
{{ renamed_rows(columns, names) }}
{%- endmacro %}
