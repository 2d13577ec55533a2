{#- Datasets are named as DESIGN says: a model's schema is the dataset, nothing is put before it. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.dataset }}
{%- endmacro %}
