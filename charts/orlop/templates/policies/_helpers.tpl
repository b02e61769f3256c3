{{/* Binds a policy to everything it matches, as (dict "root" $ "name" "orlop-own-jobs"). */}}
{{- define "orlop.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "orlop.commonLabels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* What no pod that we make may have; expects the variables pod and containers. */}}
{{- define "orlop.podRules" -}}
- expression: has(variables.pod.automountServiceAccountToken) && !variables.pod.automountServiceAccountToken
  message: pods that Orlop makes get no token for the API server
- expression: >-
    variables.containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged) || !c.securityContext.privileged)
  message: pods that Orlop makes are not privileged
- expression: >-
    variables.containers.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities)
    || !has(c.securityContext.capabilities.add) || c.securityContext.capabilities.add.all(capability,
    capability in ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'SETFCAP', 'MKNOD']))
  message: pods that Orlop makes add no capabilities but CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP and MKNOD
{{- end }}

{{- define "orlop.podVariables" -}}
- name: containers
  expression: "variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : [])"
{{- end }}
