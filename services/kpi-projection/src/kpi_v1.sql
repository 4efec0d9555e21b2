create view if not exists kpi_v1_calls as
select call_id, home_id, channel, reason, alternative, opened_on, local_week, late_entry, news2, restore2_used,
       case when answered_at is null then 0 else 1 end as answered,
       case when closed_at is null then 0 else 1 end as closed
from calls where voided = 0;
create view if not exists kpi_v1_claims as
select c.claim_id, c.call_id, c.kind, c.alternative, c.claimed_on, c.local_week,
       case when c.withdrawn_at is null and coalesce(o.withdrawn, 0) = 0 and coalesce(k.voided, 0) = 0 then 1 else 0 end as standing
from avoidance_claims c
left join consultations o on o.consultation_id = c.consultation_id
left join calls k on k.call_id = c.call_id;
create view if not exists kpi_v1_prescriptions as
select prescription_id, call_id, items, drafted_on, local_week, nearest_open,
       case when accepted_at is not null then 'accepted' when rejected_at is not null then 'rejected'
            when signed_at is not null then 'signed' else 'drafted' end as status
from prescriptions;
create view if not exists kpi_v1_visits as
select visit_id, home_id, feed, facility_ods, site_ods, visit_class, arrival, admission_method, opened_on, local_week,
       case when resident_id is null then 'home' else 'resident' end as attributed_to,
       case when closed_at is null then 0 else 1 end as closed
from visits where cancelled_at is null;
create view if not exists kpi_v1_homes as
select home_id, ods_code, home_type, beds, case when live_from is null then 0 else 1 end as live
from homes;
