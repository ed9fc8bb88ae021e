# Zero-inflated and hurdle models by glmmTMB, polished by Newton's steps on its exact gradient:
#   Rscript glmm_zeros.R ../data > glmm_zeros.json
library(glmmTMB)
folder <- commandArgs(TRUE)[1]
epil <- read.csv(file.path(folder, "epil.csv"))
epil$trt <- factor(epil$trt)
epil$subject <- factor(epil$subject)
grouseticks <- read.csv(file.path(folder, "grouseticks.csv"))
for (name in c("YEAR", "BROOD", "LOCATION")) grouseticks[[name]] <- factor(grouseticks[[name]])
polished <- function(fit) {
  par <- fit$fit$par
  for (step in 1:20) {
    gradient <- fit$obj$gr(par)
    hessian <- optimHess(par, fit$obj$fn, fit$obj$gr)
    par <- par - as.vector(solve(hessian, as.vector(gradient)))
    if (max(abs(fit$obj$gr(par))) < 1e-9) break
  }
  # the Hessian by central differences of the gradient
  k <- length(par)
  h <- 1e-4
  hessian <- sapply(1:k, function(j) {
    e <- replace(numeric(k), j, h)
    (8 * (fit$obj$gr(par + e) - fit$obj$gr(par - e)) - (fit$obj$gr(par + 2 * e) - fit$obj$gr(par - 2 * e))) / (12 * h)
  })
  list(deviance = 2 * fit$obj$fn(par), gradient = max(abs(fit$obj$gr(par))), names = names(par), par = as.vector(par),
       se = sqrt(diag(solve((hessian + t(hessian)) / 2))))
}
cases <- list(
  list(name = "zip", data = "epil", formula = "y ~ lbase * trt + lage + V4 + (1 | subject)", zero = "~ 1", family = "poisson"),
  list(name = "zip_covariates", data = "epil", formula = "y ~ lbase + trt + (1 | subject)", zero = "~ lage + V4", family = "poisson"),
  list(name = "zinb", data = "epil", formula = "y ~ lbase + (1 | subject)", zero = "~ trt", family = "nbinom2"),
  list(name = "zip_slopes", data = "epil", formula = "y ~ lbase + V4 + (V4 | subject)", zero = "~ trt", family = "poisson"),
  list(name = "hurdle_poisson", data = "epil", formula = "y ~ lbase * trt + V4 + (1 | subject)", zero = "~ lbase", family = "truncated_poisson"),
  list(name = "hurdle_nb", data = "grouseticks", formula = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", zero = "~ YEAR + cHEIGHT", family = "truncated_nbinom2")
)
number <- function(x) paste0("[", paste(formatC(x, digits = 15, format = "g"), collapse = ", "), "]")
quoted <- function(x) paste0("[", paste0('"', x, '"', collapse = ", "), "]")
out <- sapply(cases, function(case) {
  family <- if (case$family == "poisson") poisson() else match.fun(case$family)()
  fit <- suppressWarnings(glmmTMB(as.formula(case$formula), get(case$data), family = family, ziformula = as.formula(case$zero)))
  got <- polished(fit)
  sprintf('  {"name": "%s", "data": "%s", "formula": "%s", "zero_inflation": "%s", "family": "%s",\n   "deviance": %.12g, "gradient": %.2g,\n   "names": %s,\n   "estimate": %s,\n   "se": %s}',
    case$name, case$data, case$formula, case$zero, case$family, got$deviance, got$gradient, quoted(got$names), number(got$par), number(got$se))
})
cat("[\n", paste(out, collapse = ",\n"), "\n]\n", sep = "")
