-- One row a file of the lake that raw has and no finished transform has worked in: what this run is about.
{{ config(materialized='table') }}

select files.table_name, files.partition_date, files.lsn
from {{ source('raw', 'lake_files') }} as files
left join {{ source('control', 'transformed_files') }} as done
    on files.table_name = done.table_name
    and files.partition_date = done.partition_date
    and files.lsn = done.lsn
where done.lsn is null
group by files.table_name, files.partition_date, files.lsn
