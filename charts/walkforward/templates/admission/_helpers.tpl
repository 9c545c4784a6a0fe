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

{{/* Is the requester the operator, or one who may go past it? The controllers that empty a namespace may, or it would never go. */}}
{{- define "walkforward.mayWrite" -}}
request.userInfo.username in {{ list (include "walkforward.user" .) "system:serviceaccount:kube-system:namespace-controller" "system:serviceaccount:kube-system:generic-garbage-collector" "system:kube-controller-manager" | toJson }} ||
      request.userInfo.groups.exists(g, g in {{ .Values.breakGlass.groups | toJson }})
{{- end -}}
