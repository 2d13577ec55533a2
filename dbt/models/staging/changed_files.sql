-- One row a file of the lake that raw has and no finished transform has worked in: what this run is about.
-- The first partition that was ever run stands among them when it is new, since the views hold no day before it; and so do
-- models that are to be made anew from a day on, since `rainbow rebuild` asked for it or their code has changed.
{{ config(materialized='table', tags=['control']) }}

with loaded as (
    select table_name, partition_date, lsn
    from {{ source('raw', 'lake_files') }}
    group by table_name, partition_date, lsn
    union all
    select '(first partition)' as table_name, first_date as partition_date, 0 as lsn
    from (select min(first_date) as first_date from {{ source('raw', 'lake_manifests') }})
    where first_date is not null
    union all
    select concat('(rebuild) ', model) as table_name, from_date as partition_date, requested as lsn
    from {{ source('control', 'rebuilds') }}
)

select loaded.table_name, loaded.partition_date, loaded.lsn
from loaded
left join {{ source('control', 'transformed_files') }} as done
    on loaded.table_name = done.table_name
    and loaded.partition_date = done.partition_date
    and loaded.lsn = done.lsn
where done.lsn is null
