{{/* The binding of a policy to the watched namespaces: (list $ "name") */}}
{{- define "walkforward.binding" -}}
{{- $root := index . 0 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "walkforward.clusterName" $root }}.{{ index . 1 }}
  labels: {{- include "walkforward.labels" $root | nindent 4 }}
spec:
  policyName: {{ include "walkforward.clusterName" $root }}.{{ index . 1 }}
  validationActions: [Deny]
  matchResources:
    namespaceSelector:
      matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: In, values: {{ $root.Values.watchNamespaces | toJson }}}
{{- end -}}

{{/* The head of a policy: (list $ "name") */}}
{{- define "walkforward.policy" -}}
{{- $root := index . 0 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "walkforward.clusterName" $root }}.{{ index . 1 }}
  labels: {{- include "walkforward.labels" $root | nindent 4 }}
{{- end -}}

{{/*
Match conditions that leave out the operator, the break-glass group, and the controllers that empty a namespace: were they held up, it would
never go. They are match conditions and no validation, so that no error of a later expression can stop them.
*/}}
{{- define "walkforward.everybodyElse" -}}
- name: not-the-operator-and-no-controller
  expression: >-
    !(request.userInfo.username in [{{ include "walkforward.user" . | squote }},
    'system:serviceaccount:kube-system:namespace-controller', 'system:serviceaccount:kube-system:generic-garbage-collector',
    'system:kube-controller-manager'])
- name: not-by-break-glass
  expression: "!request.userInfo.?groups.orValue([]).exists(g, g in {{ .Values.breakGlass.groups | toJson | replace "\"" "'" }})"
{{- end -}}
