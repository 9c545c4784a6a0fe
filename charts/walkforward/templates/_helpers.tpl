{{- define "walkforward.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "walkforward.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "walkforward.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "walkforward.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Names of cluster-scoped objects: namespaces have no dots, so that no two releases share one. */}}
{{- define "walkforward.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "walkforward.fullname" .) -}}
{{- end -}}

{{- define "walkforward.serviceAccount" -}}
{{- default (include "walkforward.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The operator as admission sees it. */}}
{{- define "walkforward.user" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "walkforward.serviceAccount" .) -}}
{{- end -}}

{{- define "walkforward.selector" -}}
app.kubernetes.io/name: {{ include "walkforward.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "walkforward.labels" -}}
{{ include "walkforward.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: walkforward
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The reference of an image: (list $ .Values.image) */}}
{{- define "walkforward.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* All images that a training Job may run, as JSON. */}}
{{- define "walkforward.trainerImages" -}}
{{- prepend .Values.trainer.allowedImages (include "walkforward.image" (list . .Values.trainer.image)) | uniq | toJson -}}
{{- end -}}

{{/* All Secrets that a training Job may get its environment from, as JSON. */}}
{{- define "walkforward.secrets" -}}
{{- prepend .Values.allowedSecrets .Values.objectStore.secretName | uniq | toJson -}}
{{- end -}}

{{- define "walkforward.bundleRoots" -}}
{{- .Values.objectStore.bundleRoots | toJson -}}
{{- end -}}

{{- define "walkforward.dataRoots" -}}
{{- concat .Values.objectStore.bundleRoots .Values.allowedUriPrefixes | uniq | toJson -}}
{{- end -}}

{{- define "walkforward.storeName" -}}
{{- printf "%s-store" (include "walkforward.fullname" .) -}}
{{- end -}}

{{/* What every container runs with. */}}
{{- define "walkforward.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "walkforward.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Refuse what the schema cannot: a release without namespaces, and one that watches its own. */}}
{{- define "walkforward.check" -}}
{{- if not .Values.watchNamespaces -}}
{{- fail "watchNamespaces is empty: name the namespaces whose ModelRetrains and ModelRollouts this release looks after, --set 'watchNamespaces={fx-prod}'" -}}
{{- end -}}
{{- if has .Release.Namespace .Values.watchNamespaces -}}
{{- fail (printf "watchNamespaces has the release's own namespace %s: install the operator into a namespace of its own, --namespace walkforward-system, so that it outlives those that it watches" .Release.Namespace) -}}
{{- end -}}
{{- end -}}
